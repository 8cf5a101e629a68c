//! Wallets, the settler and the follower on a simulated chain: the real contracts in a real TVM.

#[path = "chain/following.rs"]
mod following;
#[path = "chain/over_http.rs"]
mod over_http;
#[path = "chain/scene.rs"]
mod scene;
#[path = "chain/settling.rs"]
mod settling;
#[path = "chain/wallets.rs"]
mod wallets;
