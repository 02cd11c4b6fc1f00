"""Secure aggregation (SecAgg+): members hand in masked vectors, and the server learns nothing but their sum.

The protocol is that of Bell, Bonawitz, Gascón, Lepoint and Raykova, "Secure Single-Server Aggregation with
(Poly)Logarithmic Overhead" (CCS 2020, ePrint 2020/704), in its semi-honest form: that of Bonawitz et al. (CCS 2017)
over a graph in which each member has O(log n) neighbours. Nothing here reads a socket or a clock: messages in, messages
out.
"""
