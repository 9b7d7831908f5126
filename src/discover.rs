//! Finds out how to reach etcd from what is already there: a kubeadm manifest, etcdctl's settings; and which clusters
//! there are, from DNS, files, an etcd or Kubernetes ([`source`]).
//!
//! Also the settings that a local etcd runs with ([`process`]).
//!
//! Owns: turning each into a [`crate::etcd::ClusterConfig`].
//! Refuses: reading the environment (values are arguments), connecting, and guessing credentials.

pub mod data_dir;
pub mod etcdctl;
mod flags;
pub mod kubeadm;
pub mod process;
pub mod source;
