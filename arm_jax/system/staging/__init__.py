"""Data at an address, brought onto a local disk once for all processes of a machine.

Training reads records at random, thousands a second: what lies in a bucket or behind https is
copied into a cache first. `stage.local` is the way in.

stores    lists and reads what lies at an address: gs://, s3:// through fsspec, https://
failures  what may pass is tried again, what will not is one line
fetch     one file, resumed where an earlier attempt stopped
sets      the folders of the cache: what is whole, in use, or may go
progress  the lines and the bar about bytes that arrive
stage     the way in: an address becomes a path
"""
