"""
The calls of the management API, grouped by subject.

A call is a method marked with L{call<alacrity.management.calls.declaration.call>}, which
says where it is found, what it takes and what it answers. Its route and its part of C{GET
/openapi.json} are made from that.

To add a call:

  1. Give its documents their shapes in L{alacrity.management.documents.schemas}, with a
     function in L{alacrity.management.documents} that reads or makes each.
  2. Add the method to one of the classes here. A new class is listed in
     L{alacrity.management.api}. What it shows of the node is passed to it as a callable.
  3. Describe new parameters, response fields and statuses in
     L{alacrity.management.calls.openapi}, and the call in C{README.md}.
"""
