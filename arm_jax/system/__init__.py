"""The machine under a run: files, devices, processes, the terminal.

Paths, arrays and messages enter; whole files, placed arrays and one clear line leave. The package
knows nothing of images, labels or networks.

errors        what the user can fix, and why a run ended early
files         files that are whole or absent
outputs       folders and files that no command writes over, but the one that wrote them
journals      what was written in a folder, and by which command
names         names from elsewhere, kept below their root
addresses     gs://bucket/run and its kind, told apart from paths
peers         the processes of one run end together
connections   messages from each of them to the first one, and who is gone
signals       being asked to stop, by Ctrl-C and its kind
workers       processes that work for another one, and end with it
locks         one writer at a time in a folder
buckets       objects of a Google Cloud Storage bucket
bucket_locks  one writer at a time in a folder of a bucket
sharding      meshes, and where arrays are placed on them
parallel      one function over many items on several cores, results in order
processes     what each process of a run does, and sums over all of them
compilation   compiled programs that outlive a process
memory        what helps when the memory of a device does not suffice
host_memory   freed memory kept for the next step, where the device is a CPU
terminal      lines for the person at the terminal
command_line  arguments of the scripts, and the config overrides among them
caches        folders of the user's cache, bounded in size
staging       what lies at an address, brought onto a local disk
config_files  config files, executed, and what is wrong with them
coordinator   which processes belong together, by the flags
"""
