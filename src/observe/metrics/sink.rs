//! Where the numbers are kept.

use super::family::Family;
use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::fmt;
use std::sync::OnceLock;

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// The recorder behind the handles.
pub(super) enum Sink {
    /// The one of the process; its text, if it is ours.
    Global(Option<PrometheusHandle>),
    Alone(Box<PrometheusRecorder>),
}

impl Sink {
    /// The recorder of the process, which becomes ours if there is none.
    pub(super) fn global() -> Self {
        static OURS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
        let ours = OURS.get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).ok().map(|()| handle)
        });
        Self::Global(ours.clone())
    }

    pub(super) fn alone() -> Self {
        Self::Alone(Box::new(PrometheusBuilder::new().build_recorder()))
    }

    pub(super) fn with<T>(&self, use_it: impl FnOnce(&dyn Recorder) -> T) -> T {
        match self {
            Self::Global(_) => metrics::with_recorder(use_it),
            Self::Alone(recorder) => use_it(&**recorder),
        }
    }

    pub(super) fn render(&self) -> Option<String> {
        match self {
            Self::Global(handle) => handle.as_ref().map(PrometheusHandle::render),
            Self::Alone(recorder) => Some(recorder.handle().render()),
        }
    }

    /// The series of `service`, whose handles are looked up here and never again.
    pub(super) fn of(&self, service: String) -> SeriesOf<'_> {
        SeriesOf { sink: self, service: Label::new("service", service) }
    }
}

/// Makes the handles of one service.
pub(super) struct SeriesOf<'a> {
    sink: &'a Sink,
    service: Label,
}

impl SeriesOf<'_> {
    pub(super) fn counter(&self, family: &Family) -> Counter {
        self.register_counter(&self.key(family, None))
    }

    pub(super) fn gauge(&self, family: &Family) -> Gauge {
        self.register_gauge(&self.key(family, None))
    }

    /// One for each word that its label can be, in their order.
    pub(super) fn counters(&self, family: &Family, words: &[&'static str]) -> Vec<Counter> {
        words.iter().map(|word| self.register_counter(&self.key(family, Some(word)))).collect()
    }

    /// One for each word that its label can be, in their order.
    pub(super) fn gauges(&self, family: &Family, words: &[&'static str]) -> Vec<Gauge> {
        words.iter().map(|word| self.register_gauge(&self.key(family, Some(word)))).collect()
    }

    fn key(&self, family: &Family, word: Option<&'static str>) -> Key {
        let label = family.label.zip(word).map(|(label, word)| Label::new(label, word));
        let labels: Vec<_> = [self.service.clone()].into_iter().chain(label).collect();
        Key::from_parts(family.name, labels)
    }

    fn register_counter(&self, key: &Key) -> Counter {
        self.sink.with(|recorder| recorder.register_counter(key, &METADATA))
    }

    fn register_gauge(&self, key: &Key) -> Gauge {
        self.sink.with(|recorder| recorder.register_gauge(key, &METADATA))
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global(Some(_)) => "Global",
            Self::Global(None) => "Global, the application's",
            Self::Alone(_) => "Alone",
        })
    }
}
