//! A request coming in, and the process around it.
//!
//! Counted -> let through once serving -> handled -> answer tagged if leaving -> uncounted when its body
//! ends. [`GracefulLayer`] is these four layers in their one right order; each is of use alone as well.
#![cfg_attr(
    feature = "serve",
    doc = "\n[`Provider`] is the process around them: bind, serve, register, wait, leave, drain, stop."
)]

//!
//! # Beside other layers
//!
//! What answers by itself belongs *inside*: then its answers say that the instance leaves, and count. What
//! only looks on may stand anywhere. Under `Provider::serve` this is so already, because these layers go
//! around the whole application; where they are used alone, it is the order in which they are added, from
//! the outside to the inside:
//!
//! | layer | place | because |
//! |---|---|---|
//! | `TraceLayer` | outside | it sees the refusals of a process that starts as well |
//! | [`GracefulLayer`] | | |
//! | `CompressionLayer` | either | the tag is a header, and a request counts until its body is dropped, compressed or not |
//! | `TimeoutLayer`, `LoadShedLayer`, limits, authentication | inside | their own answers (408, 503, 401) carry the tag; outside, a caller that gets nothing else would never be told |
//! | routes | innermost | |
//!
//! A request that a `TimeoutLayer` gives up ends there, be it outside or inside: its future is dropped, and
//! what counted it with it. Work that must not end with it is a [task](tasks).
//!
//! ```
//! use axum::{Router, http::StatusCode, routing::get};
//! use std::time::Duration;
//! use tower::ServiceBuilder;
//! use tower_graceful::{model::UnixMillis, naming::header::OfflineTag, provider::{GracefulLayer, Lifecycle}};
//! use tower_http::{compression::CompressionLayer, timeout::TimeoutLayer, trace::TraceLayer};
//! # let tag = OfflineTag::new("10.0.0.7:8080".parse()?, UnixMillis::new(1_732_060_800_000));
//! let router: Router = Router::new().route("/", get(async || "hello")).layer(
//!     ServiceBuilder::new() // The first is the outermost.
//!         .layer(TraceLayer::new_for_http())
//!         .layer(GracefulLayer::new(Lifecycle::new(), &tag))
//!         .layer(CompressionLayer::new())
//!         .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10))),
//! );
//! # Ok::<(), tower_graceful::model::InvalidAddress>(())
//! ```

pub mod drain;
pub mod gate;
#[cfg(feature = "tonic")]
pub mod grpc_health;
mod lifecycle;
pub mod offline;
mod probes;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub mod stack;
pub mod tasks;
mod under_way;
pub mod warmup;

pub use drain::{DrainLayer, InFlight};
pub use gate::GateLayer;
#[cfg(feature = "tonic")]
pub use grpc_health::GrpcHealth;
pub use lifecycle::Lifecycle;
pub use offline::OfflineLayer;
pub use probes::ProbePaths;
#[cfg(feature = "serve")]
pub use serve::{
    Accepted, App, Bound, InvalidSetting, Listen, Oneself, Provider, ProviderBuilder, ProviderHandle, Report,
    ServeError, Server, ShutdownHandle,
};
pub use stack::GracefulLayer;
pub use tasks::Tasks;
pub use warmup::{FirstRequest, WarmUpLayer};
