"""Pretraining on a folder of images without a config: looks at the images and the machine, chooses
a recipe, and writes it as a config with a reason for each choice.
"""
