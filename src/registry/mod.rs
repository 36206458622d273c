//! An instance's life on the server.
//!
//! HTTP or gRPC form -> `Command` -> `Catalog::apply` -> `Event`s -> subscribers.
