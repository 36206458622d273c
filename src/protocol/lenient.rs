//! Reading what clients leave out.

use serde::{Deserialize, Deserializer};

/// Reads `null` as if the field were absent: Java and Python clients write it for what they have not set.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
