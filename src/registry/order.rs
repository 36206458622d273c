//! What the registry orders instances, on the connections that publish them, and whether they take it.

use crate::model::{InstanceKey, ServiceKey, UnixMillis};
use crate::protocol::report::{GracefulCommandRequest, OFFLINE};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;

/// Orders of one connection that wait to be sent or answered: people give them.
const MAX: usize = 16;

/// An order, and who waits for what becomes of it.
#[derive(Debug)]
pub(crate) struct Order {
    request: GracefulCommandRequest,
    answer: oneshot::Sender<Result<(), String>>,
}

/// What becomes of an order: taken, or why not; an error when its connection ends first.
pub(crate) type Outcome = oneshot::Receiver<Result<(), String>>;

impl Order {
    /// To leave, to this instance of a service, in the name of `actor`.
    pub(crate) fn offline(
        service: &ServiceKey,
        instance: &InstanceKey,
        epoch: Option<UnixMillis>,
        actor: &str,
    ) -> (Self, Outcome) {
        let request = GracefulCommandRequest {
            namespace: service.namespace.to_string(),
            service_name: service.name.to_string(),
            group_name: service.group.to_string(),
            ip: instance.address.host().to_owned(),
            port: instance.address.port(),
            cluster: instance.cluster.to_string(),
            epoch: epoch.map_or(0, UnixMillis::as_u64),
            command: OFFLINE.to_owned(),
            actor: actor.to_owned(),
            ..GracefulCommandRequest::default()
        };
        let (answer, outcome) = oneshot::channel();
        (Self { request, answer }, outcome)
    }
}

/// The orders of one connection that are not sent yet.
#[derive(Debug, Default)]
pub(crate) struct Orders(Mutex<VecDeque<Order>>);

impl Orders {
    /// Puts one to the others. Too many are dropped, the oldest first: nobody waits for those any more.
    pub(crate) fn push(&self, order: Order) {
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.len() == MAX {
            orders.pop_front();
        }
        orders.push_back(order);
    }

    /// The next one to be sent.
    pub(crate) fn take(&self) -> Option<Order> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// The orders of one connection that have been sent and not been answered.
#[derive(Debug, Default)]
pub(crate) struct Given {
    orders: VecDeque<(String, oneshot::Sender<Result<(), String>>)>,
    last: u64,
}

impl Given {
    /// The order as it is sent, numbered.
    pub(crate) fn send(&mut self, order: Order) -> GracefulCommandRequest {
        let Order { request, answer } = order;
        self.last += 1;
        // Lists are numbered as well, and an answer says no more of what it is for than its number.
        let request_id = format!("order-{}", self.last);
        self.orders.retain(|(_, waits)| !waits.is_closed());
        if self.orders.len() == MAX {
            self.orders.pop_front();
        }
        self.orders.push_back((request_id.clone(), answer));
        GracefulCommandRequest { request_id, ..request }
    }

    /// Takes the answer to the order with this number; whether there is such an order.
    pub(crate) fn answered(&mut self, request_id: &str, answer: Result<(), String>) -> bool {
        let place = self.orders.iter().position(|(id, _)| id == request_id);
        let Some((_, waits)) = place.and_then(|place| self.orders.remove(place)) else { return false };
        let _ = waits.send(answer); // Whoever waited may have given up.
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Instance;

    fn order() -> (Order, Outcome) {
        let instance = Instance::new("10.0.0.7:80".parse().unwrap()).key;
        Order::offline(&"orders".parse().unwrap(), &instance, Some(UnixMillis::new(7)), "ann")
    }

    #[test]
    fn an_answer_comes_to_whoever_gave_the_order() {
        let (mut given, orders) = (Given::default(), Orders::default());
        let ((first, mut of_first), (second, mut of_second)) = (order(), order());
        orders.push(first);
        orders.push(second);
        let sent: Vec<_> = std::iter::from_fn(|| orders.take()).map(|order| given.send(order)).collect();
        assert_eq!(
            (sent[0].port, sent[0].epoch, &*sent[0].command, &*sent[0].actor),
            (80, 7, "offline", "ann")
        );
        assert!(given.answered(&sent[1].request_id, Err("unknown".to_owned())));
        assert!(!given.answered(&sent[1].request_id, Ok(())), "it has been answered");
        assert!(!given.answered("1", Ok(())), "that is a list");
        assert_eq!(of_second.try_recv().unwrap(), Err("unknown".to_owned()));
        assert!(of_first.try_recv().is_err());
        assert!(given.answered(&sent[0].request_id, Ok(())));
        assert_eq!(of_first.try_recv().unwrap(), Ok(()));
    }

    #[test]
    fn a_client_that_answers_nothing_takes_little_room() {
        let (mut given, orders) = (Given::default(), Orders::default());
        let mut waiting = Vec::new();
        for _ in 0..3 * MAX {
            let (order, outcome) = order();
            orders.push(order);
            waiting.push(outcome);
        }
        assert_eq!(orders.0.lock().unwrap().len(), MAX);
        assert!(waiting[0].try_recv().is_err());
        for _ in 0..3 * MAX {
            let (order, outcome) = order();
            given.send(order);
            waiting.push(outcome);
        }
        assert_eq!(given.orders.len(), MAX);
        waiting.clear();
        given.send(order().0);
        assert_eq!(given.orders.len(), 1);
    }
}
