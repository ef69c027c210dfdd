;; Writes until it is told to stop, then says that all is well.
(func $describe (result i32) (i32.const 2048))
(func $run (param $input i32) (param $output i32) (result i32)
  (loop $more
    (call $write (local.get $output) (i32.const 0) (i32.const 65536) (i32.const 256))
    (br_if $more (i32.eqz (i32.load8_u (i32.const 256)))))
  (i32.const 512))
