"""Where the models are described."""

PERCEIVER_IO = (
    "Andrew Jaegle, Sebastian Borgeaud, Jean-Baptiste Alayrac, Carl Doersch, Catalin Ionescu, David Ding, "
    "Skanda Koppula, Daniel Zoran, Andrew Brock, Evan Shelhamer, Olivier Hénaff, Matthew M. Botvinick, "
    "Andrew Zisserman, Oriol Vinyals, João Carreira. "
    "Perceiver IO: A General Architecture for Structured Inputs & Outputs. ICLR 2022. arXiv:2107.14795"
)
PERCEIVER_IO_BIBTEX = """@inproceedings{jaegle2022perceiverio,
  title         = {Perceiver {IO}: A General Architecture for Structured Inputs \\& Outputs},
  author        = {Jaegle, Andrew and Borgeaud, Sebastian and Alayrac, Jean-Baptiste and Doersch, Carl and
                   Ionescu, Catalin and Ding, David and Koppula, Skanda and Zoran, Daniel and Brock, Andrew and
                   Shelhamer, Evan and H{\\'e}naff, Olivier and Botvinick, Matthew M. and Zisserman, Andrew and
                   Vinyals, Oriol and Carreira, Jo{\\~a}o},
  booktitle     = {International Conference on Learning Representations},
  year          = {2022},
  eprint        = {2107.14795},
  archiveprefix = {arXiv}
}
"""
PERCEIVER = (
    "Andrew Jaegle, Felix Gimeno, Andrew Brock, Andrew Zisserman, Oriol Vinyals, João Carreira. "
    "Perceiver: General Perception with Iterative Attention. ICML 2021. arXiv:2103.03206"
)
PERCEIVER_BIBTEX = """@inproceedings{jaegle2021perceiver,
  title         = {Perceiver: General Perception with Iterative Attention},
  author        = {Jaegle, Andrew and Gimeno, Felix and Brock, Andrew and Zisserman, Andrew and Vinyals, Oriol and
                   Carreira, Jo{\\~a}o},
  booktitle     = {International Conference on Machine Learning},
  year          = {2021},
  eprint        = {2103.03206},
  archiveprefix = {arXiv}
}
"""
