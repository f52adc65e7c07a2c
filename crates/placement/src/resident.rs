//! A Pod that is on a Node, or is counted there, with what was worked out of it once.

use k8s_openapi::api::core::v1::Pod;

use crate::load::Demand;
use crate::terms::PodTerms;

#[derive(Debug, Clone, Copy)]
pub struct Resident<'a> {
    pub pod: &'a Pod,
    pub demand: &'a Demand,
    /// `None`: it says nothing about other Pods.
    pub terms: Option<&'a PodTerms>,
}
