//! gRPC's health protocol as a client of tonic's own sees it.

use super::*;
use tonic::service::Routes;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower_graceful::provider::GrpcHealth;

#[tokio::test]
async fn a_watcher_hears_that_a_provider_serves_and_that_it_leaves() {
    let registry = Moody::new(Mood::Away);
    let provider = orders().registry(registry.clone()).build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let routes = Routes::new(GrpcHealth::new(handle.lifecycle().clone()));
    let serving = tokio::spawn(provider.serve(listen().await, routes));
    let address = handle.bound().await.unwrap().address().unwrap();
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    let answer = client.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing, "a probe passes the gate");

    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut next = async || Some(watch.message().await.unwrap()?.status());
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    registry.mood.send_replace(Mood::Well);
    assert_eq!(next().await, Some(ServingStatus::Serving));
    shutdown.shut_down();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None);
    let report = serving.await.unwrap().unwrap();
    assert!(report.is_clean(), "{report}");
}
