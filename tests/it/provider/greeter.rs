//! A gRPC service to serve: that of the examples.

pub(super) use example::{GreeterClient, GreeterServer, Name};

use example::{Greeter, Greeting};
use tonic::Status;
use tonic::codegen::BoxStream;

#[path = "../../../examples/greeter/mod.rs"]
mod example;

/// Greets everyone.
pub(super) struct Friendly;

impl Greeter for Friendly {
    async fn greet(&self, Name { name, .. }: Name) -> Result<Greeting, Status> {
        Ok(Greeting { words: format!("Hello, {name}!"), instance: String::new() })
    }

    fn greet_often(&self, Name { name, times }: Name) -> Result<BoxStream<Greeting>, Status> {
        let greeting = move |_| Ok(Greeting { words: format!("Hello, {name}!"), instance: String::new() });
        Ok(Box::pin(tokio_stream::iter((0..times).map(greeting))))
    }
}

pub(super) fn anna() -> Name {
    Name { name: "Anna".to_owned(), times: 3 }
}
