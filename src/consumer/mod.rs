//! A request going out.
//!
//! Newest snapshot -> weights at this moment -> one weighted pick -> that instance's service -> answer -> an
//! offline tag in the answer puts its sender aside.
