import sys, time
from harness import Scale
import importlib
m = importlib.import_module("beside."+sys.argv[1])
t=time.monotonic()
for r in m.rows(Scale(quick=len(sys.argv)>2)):
    print(f"{r.name:75s} {r.peer:28s} {r.ours or 0:12.0f} {r.theirs or 0:12.0f} {r.ratio or 0:6.2f} cpu {getattr(r,'cpu_ratio',0) or 0:6.2f} {r.note}", flush=True)
print(time.monotonic()-t)
