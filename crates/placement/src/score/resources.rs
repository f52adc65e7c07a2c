//! How full a Node would be, and how evenly. Upstream: NodeResourcesFit's LeastAllocated over CPU and memory, where a container
//! that requests neither is taken to need 100m and 200 MiB, and NodeResourcesBalancedAllocation, where it is not.

use api::well_known::resource;

use super::SCORE_MAX;
use crate::load::{Demand, NodeLoad};

const RESOURCES: [&str; 2] = [resource::CPU, resource::MEMORY];

pub(super) fn least_allocated(demand: &Demand, load: &NodeLoad) -> i64 {
    let shares: Vec<i128> = RESOURCES
        .iter()
        .filter_map(|name| {
            let has = load.allocatable_of(name);
            let used = load.presumed_of(name) + demand.presumed_of(name);
            (has > 0).then(|| if used > has { 0 } else { (has - used) * i128::from(SCORE_MAX) / has })
        })
        .collect();
    let number = i128::try_from(shares.len()).unwrap_or(1).max(1);
    i64::try_from(shares.iter().sum::<i128>() / number).unwrap_or_default()
}

pub(super) fn balanced(demand: &Demand, load: &NodeLoad) -> i64 {
    let fractions: Vec<f64> = RESOURCES
        .iter()
        .filter_map(|name| {
            let has = load.allocatable_of(name);
            let used = load.requested_of(name) + demand.requests.get(*name).copied().unwrap_or_default();
            (has > 0).then(|| (used as f64 / has as f64).min(1.0))
        })
        .collect();
    let apart = match fractions.as_slice() {
        [cpu, memory] => (cpu - memory).abs() / 2.0,
        _ => 0.0,
    };
    ((1.0 - apart) * SCORE_MAX as f64) as i64
}
