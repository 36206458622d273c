//! How well counted requests follow a law. Knows nothing of this crate, so that an example can use it too.

use std::time::Duration;

/// Requests counted in one-second bins from the start of a ramp, against what was expected.
///
/// Arrivals are a Poisson process, and so are those that one instance gets of them: the variance of a count
/// is its mean.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    counted: Vec<f64>,
    expected: Vec<f64>,
}

impl Fit {
    /// Counts the moments in `arrivals`, from 0 to `seconds`, at an instance that ought to get
    /// `share(moment)` of `rate` requests a second.
    pub(crate) fn new(
        arrivals: impl Iterator<Item = Duration>,
        seconds: u32,
        rate: f64,
        share: impl Fn(f64) -> f64,
    ) -> Self {
        /// The expectation of a bin is summed up from this many moments.
        const STEPS: u32 = 20;
        let mut counted = vec![0.0; seconds as usize];
        for at in arrivals {
            if let Some(bin) = usize::try_from(at.as_secs()).ok().and_then(|bin| counted.get_mut(bin)) {
                *bin += 1.0;
            }
        }
        let moment = |bin: u32, step: u32| f64::from(bin) + (f64::from(step) + 0.5) / f64::from(STEPS);
        let mean = |bin| (0..STEPS).map(|step| share(moment(bin, step))).sum::<f64>() / f64::from(STEPS);
        Self { counted, expected: (0..seconds).map(|bin| rate * mean(bin)).collect() }
    }

    /// Each second: requests counted, and those expected.
    pub(crate) fn bins(&self) -> impl Iterator<Item = (f64, f64)> {
        self.counted.iter().copied().zip(self.expected.iter().copied())
    }

    /// Root mean square of what the bins miss.
    pub(crate) fn rmse(&self) -> f64 {
        let squares: f64 = self.bins().map(|(counted, expected)| (counted - expected).powi(2)).sum();
        (squares / self.counted.len() as f64).sqrt()
    }

    /// The root mean square that chance alone gives.
    pub(crate) fn floor(&self) -> f64 {
        (self.expected.iter().sum::<f64>() / self.expected.len() as f64).sqrt()
    }

    /// How far all requests together miss their expectation, as a part of it.
    pub(crate) fn bias(&self) -> f64 {
        let expected: f64 = self.expected.iter().sum();
        (self.counted.iter().sum::<f64>() - expected) / expected
    }

    /// The standard deviation that chance alone gives [`Fit::bias`].
    pub(crate) fn sigma(&self) -> f64 {
        self.expected.iter().sum::<f64>().sqrt().recip()
    }

    /// Chi-square of bins of five seconds, and its degrees of freedom; bins that expect fewer than five
    /// requests say nothing.
    pub(crate) fn chi_square(&self) -> (f64, f64) {
        let bins = self.counted.chunks(5).zip(self.expected.chunks(5));
        let bins =
            bins.map(|(counted, expected)| (counted.iter().sum::<f64>(), expected.iter().sum::<f64>()));
        bins.filter(|(_, expected)| *expected >= 5.0).fold((0.0, 0.0), |(sum, df), (counted, expected)| {
            (sum + (counted - expected).powi(2) / expected, df + 1.0)
        })
    }
}
