"""
The JSON documents of the management API: their shapes, and how they are read and made.

L{schemas<alacrity.management.documents.schemas>} has all shapes. Whatever a caller sends is
validated here, in the functions called C{read_...}, and nowhere else; those called
C{..._document} make what is answered.
"""
