;; Calls itself without end.
(func $describe (result i32) (i32.const 2048))
(func $deeper (param $depth i32) (result i32)
  (i32.add (call $deeper (i32.add (local.get $depth) (i32.const 1))) (local.get $depth)))
(func $run (param i32 i32) (result i32)
  (call $deeper (i32.const 0)))
