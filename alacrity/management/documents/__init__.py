"""
The JSON documents of the management API: their schemas, and the functions that read and make
them.

L{schemas<alacrity.management.documents.schemas>} has all schemas. The functions named C{read_...}
validate the documents that callers send; no other code does. The functions named C{..._document}
make the documents of answers.
"""
