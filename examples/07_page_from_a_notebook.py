"""Open the page of a run from a notebook, which goes on meanwhile.

python examples/07_page_from_a_notebook.py [RUN]
"""

import sys
import urllib.request

from splat_uff import open_run, show

run = open_run(sys.argv[1] if len(sys.argv) > 1 else "runs/toy")

page = show(run)  # In a script, `block=True` would wait here for Ctrl-C.
print(f"open {page.url}")

# A notebook has its next cells here; this script asks for the page as a browser does.
with urllib.request.urlopen(page.url) as answer:
    print(f"{answer.headers['Content-Type']}, {len(answer.read()) / 1e3:,.0f} kB")

page.stop()
print("closed")
