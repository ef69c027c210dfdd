;; Writes without end and without looking at the answers.
(func $describe (result i32) (i32.const 2048))
(func $run (param $input i32) (param $output i32) (result i32)
  (loop $forever
    (call $write (local.get $output) (i32.const 0) (i32.const 65536) (i32.const 256))
    (br $forever))
  (unreachable))
