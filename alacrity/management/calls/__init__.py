"""
The calls of the management API, grouped by subject.

A call is a method marked with L{call<alacrity.management.calls.declaration.call>}, which declares
its path, its request and its answers. Its route and its part of C{GET /openapi.json} are made
from this declaration.

To add a call:

  1. Add the schemas of its documents to L{alacrity.management.documents.schemas}, and for each a
     function that reads or makes it to L{alacrity.management.documents}.
  2. Add the method to one of the classes here. A new class is listed in
     L{alacrity.management.api}. Information about the node is passed to the class as callables.
  3. Describe new parameters, response fields and statuses in
     L{alacrity.management.calls.openapi}, and the call in C{README.md}.
"""
