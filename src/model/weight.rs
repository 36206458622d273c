//! How much traffic an instance is registered for.

use std::fmt;

/// Registered weight of an instance: finite and not negative; 1.0 is a full share, 0.0 takes no traffic.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Weight(f64);

/// A weight that is not a number, infinite or negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvalidWeight(f64);

impl Weight {
    /// A full share.
    pub const FULL: Self = Self(1.0);
    /// No traffic.
    pub const NONE: Self = Self(0.0);

    /// Checks the weight.
    ///
    /// # Errors
    /// When it is not a number, infinite or negative.
    pub fn new(weight: f64) -> Result<Self, InvalidWeight> {
        if weight.is_finite() && weight >= 0.0 { Ok(Self(weight)) } else { Err(InvalidWeight(weight)) }
    }

    /// The weight as a number.
    pub const fn as_f64(self) -> f64 {
        self.0
    }
}

impl Default for Weight {
    /// [`Weight::FULL`].
    fn default() -> Self {
        Self::FULL
    }
}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InvalidWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weight {} is not valid: accepted is a finite number from 0 on", self.0)
    }
}

impl std::error::Error for InvalidWeight {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_numbers_from_zero_on_are_weights() {
        assert_eq!(Weight::new(0.5).unwrap().as_f64(), 0.5);
        for bad in [f64::NAN, f64::INFINITY, -0.1] {
            assert!(Weight::new(bad).is_err(), "{bad}");
        }
    }
}
