;; Passes everything through, and wants a table of more elements than a table may have.
(table 200000 funcref)
(func $describe (result i32) (i32.const 2048))
(func $run (param $input i32) (param $output i32) (result i32)
  (loop $more
    (global.set $next (i32.const 65536))
    (call $read (local.get $input) (i32.const 65536) (i32.const 256))
    (if (i32.load8_u (i32.const 256)) (then (unreachable)))
    (if (i32.load (i32.const 264)) (then
      (call $write (local.get $output) (i32.load (i32.const 260)) (i32.load (i32.const 264)) (i32.const 272))
      (if (i32.load8_u (i32.const 272)) (then (unreachable)))
      (br $more))))
  (i32.const 512))
