//! A software TDX for development and tests: quotes in the real format under a root of its own, which no hardware vouches for.
