//! Graceful start and shutdown for Rust microservices, as composable Tower layers, and the service registry
//! that ties them together. A release that rolls through a fleet loses no request.
//!
//! Three flows make up the crate.
//!
//! # A request going out: [`consumer`]
//!
//! Newest snapshot -> weights at this moment -> one weighted pick -> that instance's service -> answer -> an
//! offline tag in the answer puts its sender aside. What was never applied goes to another instance.
//!
#![cfg_attr(all(feature = "client", feature = "http-client"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "client", feature = "http-client")), doc = "```ignore")]
//! # async fn example() -> Result<(), tower_graceful::BoxError> {
//! # type Body = http_body_util::Empty<bytes::Bytes>;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_graceful::{GracefulClientLayer, Nacos, http_client};
//!
//! let nacos = Nacos::builder("127.0.0.1:8848").connect()?;
//! let orders = ServiceBuilder::new()
//!     .layer(GracefulClientLayer::new(nacos.subscribe("orders").await?))
//!     .service(http_client());
//! let answer = orders.oneshot(http::Request::get("http://orders/7").body(Body::new())?).await?;
//! # Ok(()) }
//! ```
//!
//! # A request coming in: [`provider`]
//!
//! Counted -> let through once serving -> handled -> answer tagged if leaving -> uncounted when its body
//! ends. Around it the process: bind, serve, register, wait, leave (tag, deregister, lame duck), drain, stop.
//!
#![cfg_attr(all(feature = "client", feature = "serve"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "client", feature = "serve")), doc = "```ignore")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use tower_graceful::{Nacos, Provider};
//!
//! let nacos = Nacos::builder("127.0.0.1:8848").connect()?;
//! let provider = Provider::builder("orders").registry(nacos).build()?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! let router = Router::new().route("/{id}", get(async || "an order"));
//! let report = provider.serve(listener, router).await?; // Until SIGTERM; then the whole way out.
//! println!("{report}");
//! # Ok(()) }
//! ```
//!
#![cfg_attr(feature = "registry", doc = "# An instance's life: [`registry`]")]
#![cfg_attr(not(feature = "registry"), doc = "# An instance's life: `registry`")]
//!
//! HTTP or gRPC form -> `Command` -> `Catalog::apply` -> `Event`s -> subscribers. The registry speaks Nacos'
//! own protocols; `graceful registry` runs it.
//!
#![cfg_attr(feature = "registry", doc = "```no_run")]
#![cfg_attr(not(feature = "registry"), doc = "```ignore")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_graceful::registry::{Registry, Settings};
//!
//! let registry = Registry::bind(Settings::default()).await?; // 127.0.0.1:8848 and 9848
//! registry.serve(std::future::pending()).await;
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! | feature | what it holds | default |
//! |---|---|---|
//! | `provider` | the layers of a service that takes requests | yes |
//! | `consumer` | the layers of a service that makes requests | yes |
//! | `serve` | `Provider::serve`, the readiness and offline ports, signals | |
//! | `http-client` | the consumer stack over hyper's client, and the classifier of its errors | |
//! | `tls` | TLS between consumers and providers, and towards the registry, with rustls | |
//! | `client` | `Nacos`: registering and subscribing over the wire | |
//! | `tonic` | errors of the consumer stack as tonic clients understand them; gRPC's health protocol | |
//! | `notice` | a consumer's ear for instances that leave, for those who call rarely | |
//! | `metrics` | what the layers tell as metrics, and `/metrics` for Prometheus | |
//! | `registry` | the registry as a library | |
//! | `console` | the registry's pages for people, under `/console` of its HTTP port | |
//! | `cli` | the program `graceful` | |
//! | `full` | all of the above | |
//!
//! [`observe`] is where the layers tell what happens in them. Beneath them stand [`model`], the nouns as pure values, and [`naming`], the seam between the layers and
//! whatever knows where services run.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "client")]
pub mod client;
mod clock;
#[cfg(feature = "consumer")]
pub mod consumer;
#[cfg(all(feature = "full", any(test, fuzzing)))]
#[doc(hidden)]
pub mod fuzz;
pub mod model;
pub mod naming;
#[cfg_attr(
    not(all(feature = "consumer", feature = "serve")),
    allow(
        dead_code,
        unused_imports,
        reason = "consumers and providers each tell their half of what happens"
    )
)]
pub mod observe;
#[cfg(any(feature = "registry", all(feature = "client", feature = "tls")))]
mod pem;
#[cfg(feature = "protocol")]
#[cfg_attr(
    not(all(feature = "client", feature = "registry")),
    allow(
        dead_code,
        unused_imports,
        reason = "the client and the registry each use their half of the messages"
    )
)]
mod protocol;
#[cfg(feature = "provider")]
pub mod provider;
#[cfg(feature = "registry")]
pub mod registry;

#[cfg(feature = "client")]
pub use client::Nacos;
pub use clock::{Clock, ManualClock};
#[cfg(feature = "consumer")]
pub use consumer::{GracefulClientLayer, GracefulClients};
#[cfg(feature = "http-client")]
pub use consumer::{InstanceClient, http_client, http_client_h2};
pub use naming::BoxError;
#[cfg(all(feature = "metrics", any(feature = "consumer", feature = "provider")))]
pub use observe::Metrics;
#[cfg(feature = "provider")]
pub use provider::GracefulLayer;
#[cfg(feature = "serve")]
pub use provider::{Provider, Report};

/// The examples of the README are compiled as this item's documentation tests.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../README.md")]
struct Readme;
