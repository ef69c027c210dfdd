;; Says why, and crashes.
(func $describe (result i32) (i32.const 2048))
(data (i32.const 3000) "the sky fell")
(func $fall (call $log (i32.const 4) (i32.const 3000) (i32.const 12)) (unreachable))
(func $run (param i32 i32) (result i32)
  (call $fall)
  (unreachable))
