;; Refuses for a reason that is not UTF-8.
(func $describe (result i32) (i32.const 2048))
(data (i32.const 3000) "\ff\fe\fd")
(func $run (param i32 i32) (result i32)
  (i32.store (i32.const 664) (i32.const 1))
  (i32.store (i32.const 668) (i32.const 3000))
  (i32.store (i32.const 672) (i32.const 3))
  (i32.const 640))
