"""The offline cloud: stand-ins for what operators call, the programs that run in pods, and the supervisor of them all."""
