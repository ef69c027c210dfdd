;; Writes how often it was called, by a global and by memory.
(func $describe (result i32) (i32.const 2048))
(global $times (mut i32) (i32.const 0))
(func $run (param $input i32) (param $output i32) (result i32)
  (global.set $times (i32.add (global.get $times) (i32.const 1)))
  (i32.store8 (i32.const 3000) (global.get $times))
  (i32.store8 (i32.const 3001) (i32.add (i32.load8_u (i32.const 3001)) (i32.const 1)))
  (call $write (local.get $output) (i32.const 3000) (i32.const 2) (i32.const 272))
  (i32.const 512))
