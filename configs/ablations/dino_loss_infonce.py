# InfoNCE between the outputs of student and teacher in place of the cross-entropy. The paper has
# InfoNCE in MoCo v2 only (table 14, rows 5 and 6: linear 71.4 without, 73.4 with multi-crop;
# second-hand); the temperature is ours. It has no centre and no temperature of the teacher.
_base_ = ["../dino_vits16_300ep.py"]

model = dict(loss=dict(_delete_=True, type="mmdino.MoCoV3Loss", temperature=0.1))
default_hooks = dict(center_update=None, teacher_temp_warmup=None)
