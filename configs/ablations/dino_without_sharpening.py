# The centre alone: the temperature of the teacher is the student's. That is our reading of "without
# sharpening" in figure 7 of the paper, where the output becomes uniform: the entropy of the teacher
# goes to ln K and the divergence to 0. In its appendix D, 0.08 collapses already (second-hand).
_base_ = ["../dino_vits16_100ep.py"]

model = dict(loss=dict(teacher_temp=0.1))
