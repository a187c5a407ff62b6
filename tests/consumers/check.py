import json, os, shutil, sys, time
shutil.copy(sys.argv[1], "/tmp/consumers/exported.json")
json.dump(dict(os.environ), open("/tmp/consumers/env.json", "w"))
while not os.path.exists("/tmp/consumers/stop"): time.sleep(1)
