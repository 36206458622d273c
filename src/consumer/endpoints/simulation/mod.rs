//! What ramps, surges and slow instances come to, in a simulated fleet.
//!
//! Figures in these tests are ratios to be held, not promises for a machine: the servers are models.

mod fit;
mod ramps;
mod surges;
mod times;
mod world;
