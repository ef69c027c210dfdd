;; Writes more in one call than the interface allows.
(func $describe (result i32) (i32.const 2048))
(func $run (param $input i32) (param $output i32) (result i32)
  (drop (memory.grow (i32.const 128)))
  (call $write (local.get $output) (i32.const 0) (i32.const 4194305) (i32.const 256))
  (i32.const 512))
