//! The storefront: a consumer of orders that serves people, and itself starts and leaves gracefully.
//!
//! ```console
//! $ cargo run --features full --example shop -- storefront --registry 127.0.0.1:8848 --listen 127.0.0.1:8080
//! $ curl 127.0.0.1:8080/orders/7
//! {"id":"7","instance":"127.0.0.1:40123","release":"v1"}
//! ```
//!
//! Ask again and see the instances of orders take turns; stop one and see that nobody notices.

use super::common::BoxError;
use super::common::goods::{ANSWERED_BY, REQUEST_ID};
use super::common::serving::Flags;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_graceful::consumer::{GracefulClientLayer, InstanceError, NoInstance, http_client};
use tower_graceful::naming::Causes;

/// Serves people until it is told to go; 0 when nothing had to be cut then.
///
/// # Errors
/// When a port is taken, or the registry cannot be asked for orders.
pub async fn run(flags: &Flags) -> Result<ExitCode, BoxError> {
    let nacos = flags.nacos("storefront")?;
    let orders = ServiceBuilder::new()
        .layer(GracefulClientLayer::new(nacos.subscribe("orders").await?).with_app("storefront"))
        .service(http_client());

    let listener = TcpListener::bind(flags.listen).await?;
    let provider = flags.provider("storefront", &nacos).build()?;
    flags.serve(provider, listener, router(orders), None, nacos).await
}

/// Everything but the front page is passed to `orders`.
pub fn router<S, B>(orders: S) -> Router
where
    S: Service<Request, Response = Response<B>, Future: Send> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let pass = async move |mut request: Request| {
        keep_what_passes(request.headers_mut());
        match orders.clone().oneshot(request).await {
            Ok(mut response) => {
                keep_what_passes(response.headers_mut());
                response.map(Body::new) // Never collected: a streamed answer passes as it comes.
            }
            Err(error) => failure(&*error.into()),
        }
    };
    Router::new()
        .route("/", get(async || "Ask for /orders/7, /slow?ms=500 or /stream?chunks=5.\n"))
        .fallback(pass)
}

/// Says what went wrong, and with whom.
fn failure(error: &(dyn std::error::Error + 'static)) -> Response {
    // Nobody to ask is a shortage, which may pass; a call that failed is the other side's fault.
    let status =
        if error.is::<NoInstance>() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY };
    let mut answer = (status, format!("orders: {}\n", Causes(error))).into_response();
    if let Some(failed) = error.downcast_ref::<InstanceError>() {
        let name = HeaderValue::try_from(failed.instance().address().to_string());
        answer.headers_mut().extend(name.map(|name| (ANSWERED_BY, name)));
    }
    answer
}

/// Leaves the headers that are about the order. The others are about one connection, and there are two.
fn keep_what_passes(headers: &mut HeaderMap) {
    let passing = [CONTENT_TYPE, REQUEST_ID, ANSWERED_BY];
    *headers = passing.into_iter().filter_map(|name| Some((name.clone(), headers.remove(name)?))).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::CONNECTION;
    use http_body_util::BodyExt;
    use std::io;
    use tower::{Layer, service_fn};
    use tower_graceful::model::Instance;
    use tower_graceful::naming::Snapshots;

    async fn answer<S, B>(orders: S) -> Response
    where
        S: Service<Request, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
        S: Clone + Send + Sync + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let request = Request::get("/orders/7").header(REQUEST_ID, "1").header(CONNECTION, "close");
        router(orders).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_about_one_connection_passes_in_neither_direction() {
        let orders = service_fn(async |request: Request| {
            let headers = request.headers();
            assert!(headers.contains_key(REQUEST_ID) && !headers.contains_key(CONNECTION));
            let answer = [(CONNECTION, "close"), (CONTENT_TYPE, "application/json")];
            Ok::<_, io::Error>((answer, "{}").into_response())
        });
        let response = answer(orders).await;
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert!(!response.headers().contains_key(CONNECTION));
    }

    #[tokio::test]
    async fn what_orders_do_not_answer_is_a_bad_gateway_that_says_why_and_by_whom() {
        let listed =
            Snapshots::fixed("orders".parse().unwrap(), vec![Instance::new("10.0.0.7:1".parse().unwrap())]);
        let dead =
            service_fn(async |_: http::Request<_>| Err::<Response, _>(io::Error::other("it fell over")));
        let answer = answer(GracefulClientLayer::new(listed).layer(dead)).await;
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(answer.headers()[ANSWERED_BY], "10.0.0.7:1");
        let why = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(why.ends_with(b": it fell over\n"), "{why:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_nobody_to_ask_the_service_is_unavailable() {
        let nobody = Snapshots::fixed("orders".parse().unwrap(), Vec::new());
        let idle = service_fn(async |_: http::Request<_>| Ok::<_, io::Error>(Response::new(Body::empty())));
        let answer = answer(GracefulClientLayer::new(nobody).layer(idle)).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
