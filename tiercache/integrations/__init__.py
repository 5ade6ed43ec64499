"""What plugs the cache into other libraries; each file needs the library that it is named after, and no other."""
