"""Models of other code bases in, without executing anything of their files; and models out.

inert.py        what a pickle's imports and calls become: names and records, and the bounds
pickles.py      the interpreter of pickles that makes them
arrays.py       numpy arrays and PyTorch tensors as such files describe them, numbers out
torchfiles.py   what torch.save writes: zip files, and the stream of older versions
modules.py      a pickled network as names, tensors and settings
foreign.py      what a converter makes of a file: a config, and where each tensor comes from
nvidia.py  tensorflow.py  rosinality.py     one layout each, to facegan's names; rosinality's also back
sources.py      where the file is: a path, an address, a public model's name
importing.py    which of them a file is, the report, the model file

onnx.py  torch_program.py     a model as one file: ONNX, torch.export
web.py  page/                 a model as a page that makes faces in a browser
agreement.py                  what exports share; that they make the model's pictures, or are not written
"""
