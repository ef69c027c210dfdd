;; Never ends.
(func $describe (result i32) (i32.const 2048))
(func $run (param i32 i32) (result i32)
  (loop $forever (br $forever))
  (unreachable))
