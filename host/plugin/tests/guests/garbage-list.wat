;; Returns four thousand million annotations.
(func $describe (result i32) (i32.const 2048))
(func $run (param i32 i32) (result i32)
  (i32.store (i32.const 648) (i32.const 4096))
  (i32.store (i32.const 652) (i32.const -1))
  (i32.const 640))
