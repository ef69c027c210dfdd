;; Keeps what it was only lent.
(func $describe (result i32) (i32.const 2048))
(func $run (param i32 i32) (result i32)
  (i32.store8 (i32.const 700) (i32.const 1))
  (i32.const 512))
