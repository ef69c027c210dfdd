;; Writes the type of its payload and then the payload, and nothing without one.
(func $describe (result i32) (i32.const 2048))
(func $run (param $input i32) (param $output i32) (result i32)
  (if (i32.load8_u offset=48 (global.get $job)) (then
    (call $write (local.get $output)
      (i32.load offset=52 (global.get $job)) (i32.load offset=56 (global.get $job)) (i32.const 272))
    (call $write (local.get $output)
      (i32.load offset=60 (global.get $job)) (i32.load offset=64 (global.get $job)) (i32.const 272))))
  (i32.const 512))
