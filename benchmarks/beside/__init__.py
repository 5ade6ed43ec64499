"""tiercache and its peers at the same jobs, tier by tier: wall time, CPU, and what each does less."""
