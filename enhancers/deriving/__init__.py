"""`toprung derive`: a tier made for a device, from a teacher, within budgets of time, bytes and memory.

`budget` says what the device has. `operator_latency` measures what each convolution takes of it. `costs` reckons a
network's time, bytes and memory from its channels, smoothly. `gates` lets a training decide which channels stay,
`slicing` takes the others out. `cells` lists networks to begin from, `proxies` ranks them without training.
`derive` ties them together.
"""
