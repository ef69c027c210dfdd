;; Logs without end.
(func $describe (result i32) (i32.const 2048))
(func $run (param i32 i32) (result i32)
  (loop $forever
    (call $log (i32.const 2) (i32.const 1024) (i32.const 40))
    (br $forever))
  (unreachable))
