//! Naming over the wire: registers and subscribes with Nacos' gRPC protocol.
