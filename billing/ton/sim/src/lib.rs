//! A chain of TON in this process: the real contracts in a real TVM, blocks on demand, time that can be moved.
