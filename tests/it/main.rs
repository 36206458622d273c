//! The flows with real sockets and real processes, in one binary: a module for each flow.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a test may panic, also in the functions that it calls")]

mod allocations;
mod browser;
mod cli;
mod client;
mod conformance;
mod console_access;
mod console_actions;
mod consumer;
mod deploy;
mod doctor;
mod grpc;
mod instance_client;
mod notice;
mod observe;
mod provider;
mod registry;
mod registry_access;
mod registry_bounds;
mod registry_diagnosis;
mod registry_explained;
mod registry_followed;
mod registry_foreign;
mod registry_kept;
mod registry_namespaces;
mod registry_operate;
mod registry_operator;
mod registry_program;
mod registry_push;
mod registry_reports;
mod registry_services;
mod registry_tls;
mod registry_transfer;
mod registry_versions;
mod registry_wrong_input;
mod release_matrix;
mod shop;
mod tidy;
mod watched;
